/** The database as functions see it: the RPCs that they call, in supabase-js' terms. */

export interface QueueStatus {
  /** Truthy while claiming is paused by an operator. */
  paused: boolean | string | null;
}

export interface Database {
  public: {
    Tables: Record<never, never>;
    Views: Record<never, never>;
    Functions: {
      get_queue_status: { Args: Record<PropertyKey, never>; Returns: QueueStatus };
    };
    Enums: Record<never, never>;
    CompositeTypes: Record<never, never>;
  };
}
