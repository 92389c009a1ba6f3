# virtiofsd reads the secrets of the gateway, or another instance's directory.
# Must: the runtime directory has only its own part.
# VM: taken
### virtiofsd
[ "$(ls -A .. | grep -v -x -F -e "$ID" -e ".$ID.record")" = '' ]
fails sh -c 'echo x >>"$0"' "../.$ID.record"
