"""HTTP itself: keys, bodies, headers, problems and how operations are described. Knows no resource."""
