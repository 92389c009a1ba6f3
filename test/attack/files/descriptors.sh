# The guest looks up more files than virtiofsd can have open.
# Must: it still works.
# Slow.
### root
mkdir "$NAME" && cd "$NAME" && python3 -c '
for i in range(25000): open(str(i), "w").close()' && ls -l >/dev/null
cat "$WORK/plain" | has host
### host
rm -r "$NAME"
