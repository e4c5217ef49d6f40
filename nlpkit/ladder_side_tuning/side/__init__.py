"""The narrow network beside a frozen one: its blocks, and how it climbs from tap to tap."""
