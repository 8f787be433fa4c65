"""What launchers know by name: methods, metrics, their settings, contenders."""
