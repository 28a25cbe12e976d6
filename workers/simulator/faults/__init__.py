"""What goes wrong in the simulator: on demand and by schedule."""
