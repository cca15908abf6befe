"""The API of AWS Identity and Access Management: who there is, and which policies they have."""
