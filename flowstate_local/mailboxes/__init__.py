"""Sample mail for the simulator: TypeScript that writes RFC 5322 messages from a seed."""
