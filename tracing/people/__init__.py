"""What people are to those who contain an outbreak, and what is known of their health.

Receives declared states and imported records, keeps them in ClickHouse by pseudonym, and hands on what somebody
is at a moment.
"""
