# Root in the guest asks for a name, and goes on as if it had been allowed.
# Must: denied until the user allows it.
# VM: allow
# Slow.
### root
curl -sS -m 20 -d 'other.test please' http://gateway.internal/ask | has 'The user was asked'
fetch http://other.test/ | has 'the name is not in Allow='
