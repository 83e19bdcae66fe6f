"""The API gateway of the local stack: one loopback port that answers like a hosted project.

`/rest/v1` goes to PostgREST, `/functions/v1` to the functions host; the parts of Auth (`auth/`) and
Realtime (`realtime/`) that a FlowState client uses are answered here, from the same tables. Errors
have the shapes that supabase-py and supabase-js turn into their usual exceptions.

It is a development tool: it listens on 127.0.0.1 only, confirms every e-mail address at once and
hashes passwords cheaply.

It stands on aiohttp, as server and as client: it speaks HTTP and WebSocket on one port, streams
both ways without buffering, and costs a fraction of a millisecond per proxied request where httpx's
pool alone would cost several.
"""
