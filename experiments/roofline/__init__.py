"""What the kernel reaches of what the machine can do."""
