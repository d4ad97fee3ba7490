"""What the service stands, tried from outside: each part runs the whole of it, and then checks what it kept.

`load` is Locust's users and the audit that nothing was lost, `bench` measures, `faults` kills and cuts off, `hostile`
cheats. `locustfile` is what `locust -f` reads.
"""
