"""What `medqueue doctor` looks at: each check a generator of findings, none of which holds a secret."""
