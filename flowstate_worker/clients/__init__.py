"""What the worker talks to: the queue's RPCs through the Supabase client, and Apps Script
instances.
"""
