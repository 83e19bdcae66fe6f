"""The queue's SQL functions, called as PostgREST calls them, on a real Postgres."""
