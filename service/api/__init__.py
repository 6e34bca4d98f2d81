"""HTTP: who calls, what the request says, one use case, one answer. Rules live below this package."""
