"""Questions asked of environments and agents, and how their answers are shown."""
