"""The part of Supabase Realtime that FlowState uses: broadcast, on public and private channels.

    wire.py        Phoenix frames, protocol versions 1.0.0 (supabase-py) and 2.0.0 (supabase-js)
    connection.py  one WebSocket and its channels: join, leave, heartbeat, access_token, broadcast
    channel.py     one joined topic: whose token it was joined with, and until when
    access.py      may this token receive from, or send to, this private topic? Asked of Postgres
    hub.py         who has joined what; delivers to them
    listener.py    messages that the database sends (realtime.send), by LISTEN
    http.py        messages that are sent by HTTP

Not here: postgres_changes (a join that asks for it is refused with the reason), replay, and
presence beyond the empty state that clients wait for. A message is delivered to whoever is joined
when it is sent, and to nobody later, as with the hosted service.
"""
