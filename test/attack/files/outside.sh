# Root in the guest reads a file of the user beside the work directory: by "..", by its path, by a link to it.
# Must: not there, though a link within the directory works.
### host
echo SECRET >~/attack-secret
echo inside >"$NAME" && ln -sf "$NAME" "$NAME-in"
ln -sf ~/attack-secret "$NAME-link" && ln -sf ../../attack-secret "$NAME-up"
### root
cat "$NAME-in" | has inside
for path in "$NAME-link" "$NAME-up" ../../attack-secret /home/dev/attack-secret "$WORK/../../attack-secret"; do
	fails cat "$path"
done
