"""The lives of workers, on the server's side: started, watched, buried, started again."""
