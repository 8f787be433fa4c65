"""What launchers share: flags, files, records, data, statistics."""
