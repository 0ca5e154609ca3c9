"""What an event changes. Never talks to a client, never opens a socket to one."""
