"""What is judged, and what follows. A machine only ever asks for a person's look; it decides nothing."""
