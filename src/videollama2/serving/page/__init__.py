"""The page for people at `/`: gradio in front of the same road that every other client takes."""
