"""The part of Supabase Auth that password users and their administrators need.

Sign-up, password and refresh-token grants, `user`, `logout`, `admin/users`, `settings`, `health`,
over the tables of the hosted service: auth.users, auth.sessions, auth.refresh_tokens; and the
custom access token hook that supabase/config.toml enables. Auth works as the database role
supabase_auth_admin, so that hooks and triggers may do what they may when hosted. Every e-mail
address is confirmed at once, since a local stack sends no mail.
"""
