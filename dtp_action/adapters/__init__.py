"""The calls: each module speaks to one outside thing and knows no rule about jobs."""
