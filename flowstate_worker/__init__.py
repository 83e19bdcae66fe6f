"""The long-running worker, and the client library that it stands on."""
