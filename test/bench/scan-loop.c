/*
 * The two sides that the addon's scan is measured against, as processes of their own:
 *
 *   scan-loop hold shmem|hugetlb BYTES      maps and touches a memfd, prints its address, stays until stdin ends
 *   scan-loop scan PID ADDRESS BYTES CHUNK  a bare pread loop over that pagemap: one scan a line of stdin; prints the
 *                                           nanoseconds, those of them on a processor, and the OR of all entries, so
 *                                           that none is left unread
 *
 * Numbers are decimal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0') {
		errno = EINVAL;
		fail(text);
	}
	return n;
}

static int hold(const char *kind, uint64_t bytes)
{
	int huge = strcmp(kind, "hugetlb") == 0;
	int fd = memfd_create("scan", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
	volatile char *map;

	if (fd < 0)
		fail("memfd_create");
	if (ftruncate(fd, (off_t)bytes) != 0)
		fail("ftruncate");
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		fail("mmap");
	/* Whatever the host's setting for huge pages in shmem is: 4 KiB pages are what is measured. */
	if (!huge)
		madvise((void *)map, bytes, MADV_NOHUGEPAGE);
	for (uint64_t at = 0; at < bytes; at += 4096)
		map[at] = 1;
	printf("%ju\n", (uintmax_t)(uintptr_t)map);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int scan(const char *pid, uint64_t address, uint64_t bytes, uint64_t chunk)
{
	char path[64], line[16];
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t start = address / page * 8, end = start + bytes / page * 8;
	uint64_t *buffer = aligned_alloc(4096, chunk);
	int fd;

	snprintf(path, sizeof path, "/proc/%s/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	if (buffer == NULL)
		fail("aligned_alloc");
	memset(buffer, 0, chunk);
	while (fgets(line, sizeof line, stdin) != NULL) {
		uint64_t all = 0, cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), begin = now_ns(CLOCK_MONOTONIC);

		for (uint64_t at = start; at < end;) {
			ssize_t got = pread(fd, buffer, end - at < chunk ? end - at : chunk, (off_t)at);

			if (got <= 0)
				fail("pread");
			for (ssize_t i = 0; i < got / 8; i++)
				all |= buffer[i];
			at += (uint64_t)got;
		}
		begin = now_ns(CLOCK_MONOTONIC) - begin;
		cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
		printf("%ju %ju %jx\n", (uintmax_t)begin, (uintmax_t)cpu, (uintmax_t)all);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "hold") == 0)
		return hold(argv[2], number(argv[3]));
	if (argc == 6 && strcmp(argv[1], "scan") == 0)
		return scan(argv[2], number(argv[3]), number(argv[4]), number(argv[5]));
	fprintf(stderr, "usage: scan-loop hold shmem|hugetlb BYTES | scan PID ADDRESS BYTES CHUNK\n");
	return 2;
}
