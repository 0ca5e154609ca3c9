"""Pages for people. They ask nothing of any other host: no font, script or picture comes from elsewhere."""
