"""What the workflow's maintainer decides, read once at the edge; frozen."""
