# The guest makes the gateway log the API key.
# Must: it is in no line of the journal.
### root
for path in /v1/messages '/host/git.test/x' '/%0a'; do
	curl -sS -m 20 -H "x-api-key: $ANTHROPIC_API_KEY" "http://gateway.internal$path" >/dev/null 2>&1 || :
done
### host
journalctl --user --no-pager -o json -n 3000 | hasnot "$KEY"
