"""How the service is reached: paths of HTTP, a socket, and the guard before both."""
