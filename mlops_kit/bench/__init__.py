"""Every mode of one bundle measured on the user's own model, data and machine, and which one to choose."""
