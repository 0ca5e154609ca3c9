"""Work that outlives a request: durable, with progress, resumed wherever its process died."""
