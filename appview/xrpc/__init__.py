"""The methods of our lexicons. It never reads a request: parameters come checked, and bytes go back."""
