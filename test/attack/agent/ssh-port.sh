# Root in the guest writes garbage to all ports of SSH connections, whose host ends are the user's clients.
# Must: the next shell works.
### root
for name in /sys/class/virtio-ports/*/name; do
	case $(cat "$name") in
	*ssh*) head -c 100000 /dev/urandom | timeout 2 tee "/dev/$(basename "$(dirname "$name")")" >/dev/null 2>&1 || : ;;
	esac
done
### claude
echo alive
