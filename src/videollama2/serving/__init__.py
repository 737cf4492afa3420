"""The serving room: `videollama2 serve`."""
