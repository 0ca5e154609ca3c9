"""Sound: what comes in, what is made of it, how it goes out. Never decodes foreign bytes in this process."""
