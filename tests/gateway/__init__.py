"""The API gateway and the functions host, through the clients that people use."""
