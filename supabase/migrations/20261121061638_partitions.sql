-- The partitions of today and the days ahead; from here on the worker's housekeeping makes them.
select public.maintain_queue();
