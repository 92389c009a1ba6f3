# virtiofsd changes programs of the system.
# Must: all is read-only.
# VM: taken
### virtiofsd
for dir in / /usr/local/bin /etc /home; do
	fails touch "$dir/attack"
done
