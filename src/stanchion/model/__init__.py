"""Request and response shapes and errors of each AWS service: data, generated, no logic."""
