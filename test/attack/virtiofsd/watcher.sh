# virtiofsd attacks the process that repeats mounts, which still has the capability.
# Must: ptrace is refused, because that process has more capabilities.
# VM: taken
### virtiofsd
for pid in /proc/[0-9]*; do
	case $(tr '\0' ' ' <"$pid/cmdline" 2>/dev/null) in
	*watch-share*)
		seen=yes
		fails ls "$pid/root/"
		fails head -c 1 "$pid/mem"
		;;
	esac
done
[ "${seen-}" = yes ]
