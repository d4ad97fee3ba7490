"""From a question to an answer with its evidence: who was with this person?

Receives questions from the routes, control events from the control stream and scans from the read models. `question`
resolves what is asked, `registry` knows the places and cases as of then, `queries` reads the scans, `stays`, `overlap`
and `chain` are the pure middle that says who met whom, `answer` hands it on with the scans that prove it.
"""
