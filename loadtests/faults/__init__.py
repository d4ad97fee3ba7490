"""The fault campaign: the whole service under load, killed and cut off at moments that a seed gives.

`schedule` says what happens in a round, `system` runs the processes, `links` carries and breaks their connections,
`traffic` sends scans and remembers them, `audit` holds the log against that memory, `campaign` goes round by round.
"""
