"""Many clips, and clips of any length: `videollama2 caption` and `videollama2 timeline`."""
