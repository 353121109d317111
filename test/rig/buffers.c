// SPDX-License-Identifier: MIT
/*
 * Makes udmabufs and says which host pages they must have, as an independent witness for the tests: the pages are
 * read from the pagemap of this program's own mapping of the memfd, not from the kernel's udmabuf structures.
 *
 * Options, taken in order (numbers may be hex and may end in K, M or G):
 *
 *   --as UID                   goes on as this ordinary user, who may look into it. What it reads of its own page table
 *                              stays readable: rights there are those of the opening, which came before.
 *   --memfd KIND,SIZE[,hole]   a memfd; KIND is shmem, thp, huge2m or huge1g. Every 4 KiB page is written, with its
 *                              index + 1 as first word, unless "hole" is given.
 *   --node N                   all memory from here on comes from this NUMA node
 *   --name NAME                DMA_BUF_SET_NAME for the buffers that follow; an empty NAME ends it
 *   --count N[,STRIDE]         the next buffer is made N times, STRIDE bytes apart (its own size when left out)
 *   --buffer OFFSET,SIZE       UDMABUF_CREATE on the last memfd
 *   --list ITEM[+ITEM...]      UDMABUF_CREATE_LIST; an ITEM is [MEMFD:]OFFSET,SIZE, MEMFD counting from 0
 *   --map                      map and read every buffer made so far
 *   --holders N                N children that keep every descriptor until this process ends
 *
 * Output, one JSON object a line:
 *
 *   {"event":"memfd","index":0,"kind":"shmem","fd":4,"inode":9,"sizeBytes":n,"address":"0x…","hugePages":0}
 *   {"event":"refused","call":"UDMABUF_CREATE","errno":12,"error":"Cannot allocate memory"}
 *   {"event":"buffer","index":0,"fd":5,"inode":7,"sizeBytes":n,"name":null,"items":[[memfd,offset,size]…],
 *    "pages":[[pfn,count]…]}
 *   {"event":"holder","pid":12}
 *   {"event":"ready","pid":11}
 *
 * "pages" are runs of adjacent PFNs in buffer order: the pages that the memfd holds at the buffer's ranges now.
 * A run's pfn is null where this process maps no page (a hole); "pages" is null where PFNs are hidden from it.
 * "hugePages" counts the 2 MiB pieces of the memfd that are physically contiguous and aligned.
 *
 * Then commands from standard input, one a line, each answered by {"event":"done",…} or {"event":"failed",…}:
 *
 *   punch OFFSET LEN [MEMFD]        fallocate(PUNCH_HOLE)
 *   touch OFFSET LEN BYTE [MEMFD]   memset through the mapping
 *   pfns                            the "buffer" lines again, as the memfd is now; nothing is touched
 *   map [BUFFER]                    map and read one buffer, or all
 *   attach DEVICE [BUFFER]          import one buffer, or all, into a DRM device
 *   close [BUFFER]                  unmap and close one buffer, or all
 *   fork                            one more holder
 *   quit                            also end of input
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#define PAGE 4096UL
#define HUGE_2M (2UL << 20)
#define HUGE_1G (1UL << 30)

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26)
#define MFD_HUGE_1GB (30U << 26)
#endif

/* include/uapi/drm/drm.h, which linux-libc-dev ships but a static tool need not depend on. */
struct prime_handle {
	uint32_t handle;
	uint32_t flags;
	int32_t fd;
};
#define PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct prime_handle)

struct memfd {
	const char *kind;
	int fd;
	uint64_t size;
	uint8_t *map;
};

struct item {
	unsigned int memfd;
	uint64_t offset;
	uint64_t size;
};

struct buffer {
	int fd;
	uint64_t size;
	const char *name;
	void *map;
	unsigned int nitems;
	struct item *items;
};

static struct memfd *memfds;
static unsigned int nmemfds;
static struct buffer *buffers;
static unsigned int nbuffers;
static int device = -1;
static int pagemap = -1;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "buffers: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(2);
}

static void *grow(void *array, unsigned int count, size_t size)
{
	array = realloc(array, (count + 1) * size);
	if (!array)
		die("out of memory");
	memset((char *)array + count * size, 0, size);
	return array;
}

/* A number with an optional suffix; moves *text past it. */
static uint64_t number(const char **text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(*text, &end, 0);
	if (errno || end == *text)
		die("not a number: %s", *text);
	switch (*end) {
	case 'K': value <<= 10; end++; break;
	case 'M': value <<= 20; end++; break;
	case 'G': value <<= 30; end++; break;
	}
	*text = end;
	return value;
}

static bool skip(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

static uint64_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

static void print_string(const char *text)
{
	if (!text) {
		printf("null");
		return;
	}
	putchar('"');
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void refused(const char *call)
{
	int error = errno;

	printf("{\"event\":\"refused\",\"call\":\"%s\",\"errno\":%d,\"error\":\"%s\"}\n", call, error, strerror(error));
}

/* Pagemap entries of a range of the mapping (Documentation/admin-guide/mm/pagemap.rst): bit 63 present, 0..54 PFN. */
static uint64_t *entries_of(const struct memfd *m, uint64_t offset, uint64_t size)
{
	size_t bytes = size / PAGE * sizeof(uint64_t);
	uint64_t *entries = malloc(bytes ? bytes : 1);
	off_t at = (off_t)((uintptr_t)(m->map + offset) / PAGE * sizeof(uint64_t));

	if (!entries)
		die("out of memory");
	if (pread(pagemap, entries, bytes, at) != (ssize_t)bytes)
		die("pagemap: %s", strerror(errno));
	return entries;
}

#define PRESENT(entry) ((entry) >> 63)
#define PFN(entry) ((entry) & ((1ULL << 55) - 1))

struct run {
	bool open, first, present;
	uint64_t pfn, count;
};

static void end_run(struct run *run)
{
	if (!run->open)
		return;
	printf("%s[", run->first ? "" : ",");
	if (run->present)
		printf("%" PRIu64, run->pfn);
	else
		printf("null");
	printf(",%" PRIu64 "]", run->count);
	run->open = run->first = false;
}

static void add_to_run(struct run *run, uint64_t entry)
{
	bool present = PRESENT(entry);
	bool joins = run->open && run->present == present && (!present || PFN(entry) == run->pfn + run->count);

	if (!joins) {
		end_run(run);
		run->open = true;
		run->present = present;
		run->pfn = PFN(entry);
		run->count = 0;
	}
	run->count++;
}

static void print_pages(const struct buffer *b)
{
	struct run run = { .first = true };
	bool hidden = false;

	for (unsigned int i = 0; i < b->nitems && !hidden; i++) {
		const struct item *item = &b->items[i];
		uint64_t *entries = entries_of(&memfds[item->memfd], item->offset, item->size);

		for (uint64_t n = 0; n < item->size / PAGE && !hidden; n++)
			hidden = PRESENT(entries[n]) && !PFN(entries[n]);
		free(entries);
	}
	if (hidden) {
		printf("null");
		return;
	}
	putchar('[');
	for (unsigned int i = 0; i < b->nitems; i++) {
		const struct item *item = &b->items[i];
		uint64_t *entries = entries_of(&memfds[item->memfd], item->offset, item->size);

		for (uint64_t n = 0; n < item->size / PAGE; n++)
			add_to_run(&run, entries[n]);
		free(entries);
	}
	end_run(&run);
	putchar(']');
}

static void print_buffers(void)
{
	for (unsigned int i = 0; i < nbuffers; i++) {
		const struct buffer *b = &buffers[i];

		if (b->fd < 0)
			continue;
		printf("{\"event\":\"buffer\",\"index\":%u,\"fd\":%d,\"inode\":%" PRIu64 ",\"sizeBytes\":%" PRIu64 ",\"name\":",
		       i, b->fd, inode_of(b->fd), b->size);
		print_string(b->name);
		printf(",\"items\":[");
		for (unsigned int k = 0; k < b->nitems; k++)
			printf("%s[%u,%" PRIu64 ",%" PRIu64 "]", k ? "," : "", b->items[k].memfd, b->items[k].offset,
			       b->items[k].size);
		printf("],\"pages\":");
		print_pages(b);
		printf("}\n");
	}
}

static unsigned int count_huge(const struct memfd *m)
{
	unsigned int count = 0;

	for (uint64_t at = 0; at + HUGE_2M <= m->size; at += HUGE_2M) {
		uint64_t *entries = entries_of(m, at, HUGE_2M);
		bool huge = PRESENT(entries[0]) && PFN(entries[0]) && PFN(entries[0]) % (HUGE_2M / PAGE) == 0;

		for (uint64_t n = 1; n < HUGE_2M / PAGE && huge; n++)
			huge = PRESENT(entries[n]) && PFN(entries[n]) == PFN(entries[0]) + n;
		count += huge;
		free(entries);
	}
	return count;
}

/* An address of `align`, so that a shmem huge page can be mapped as one. */
static void *map_aligned(int fd, uint64_t size, uint64_t align)
{
	uint8_t *area = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *start;

	if (area == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	start = (uint8_t *)(((uintptr_t)area + align - 1) / align * align);
	start = mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (start == MAP_FAILED)
		die("mmap of the memfd: %s", strerror(errno));
	return start;
}

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

/*
 * Has shmem use huge pages where madvise asks for them; `former` becomes the word that was in brackets. Returns false where this
 * user may not: "hugePages" then says 0.
 */
static bool allow_shmem_huge_pages(char former[16])
{
	char words[128];
	int fd = open(SHMEM_ENABLED, O_RDWR | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return false;
	length = read(fd, words, sizeof(words) - 1);
	words[length > 0 ? length : 0] = '\0';
	if (sscanf(words, "%*[^[][%15[^]]", former) != 1 && sscanf(words, "[%15[^]]", former) != 1)
		die("shmem_enabled has no word in brackets: %s", words);
	if (write(fd, "advise", 6) != 6)
		die("shmem_enabled: %s", strerror(errno));
	close(fd);
	return true;
}

/* It is the whole machine's: who makes a memfd after this must find it as it was. */
static void restore_shmem_huge_pages(const char *former)
{
	int fd = open(SHMEM_ENABLED, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, former, strlen(former)) != (ssize_t)strlen(former))
		die("shmem_enabled: %s", strerror(errno));
	close(fd);
}

static void make_memfd(const char *text)
{
	static const struct {
		const char *name;
		unsigned int flags;
		uint64_t align;
	} kinds[] = {
		{ "shmem", 0, PAGE },
		{ "thp", 0, HUGE_2M },
		{ "huge2m", MFD_HUGETLB | MFD_HUGE_2MB, HUGE_2M },
		{ "huge1g", MFD_HUGETLB | MFD_HUGE_1GB, HUGE_1G },
	};
	size_t length = strcspn(text, ",");
	bool allowed = false;
	char former[16];
	unsigned int k;
	struct memfd *m;

	for (k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		if (strlen(kinds[k].name) == length && !strncmp(kinds[k].name, text, length))
			break;
	if (k == sizeof(kinds) / sizeof(kinds[0]))
		die("no such kind of memfd: %s", text);
	text += length;
	if (!skip(&text, ','))
		die("--memfd wants KIND,SIZE");

	memfds = grow(memfds, nmemfds, sizeof(*memfds));
	m = &memfds[nmemfds];
	m->kind = kinds[k].name;
	m->size = number(&text);
	m->fd = memfd_create("pinscope-buffers", MFD_CLOEXEC | MFD_ALLOW_SEALING | kinds[k].flags);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->size) || fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK))
		die("memfd %s: %s", m->kind, strerror(errno));
	m->map = map_aligned(m->fd, m->size, kinds[k].align);
	if (!strcmp(m->kind, "thp")) {
		if (madvise(m->map, m->size, MADV_HUGEPAGE))
			die("MADV_HUGEPAGE: %s", strerror(errno));
		allowed = allow_shmem_huge_pages(former);
	}
	if (strcmp(text, ",hole"))
		for (uint64_t at = 0; at < m->size; at += PAGE)
			*(uint64_t *)(m->map + at) = at / PAGE + 1;
	if (allowed)
		restore_shmem_huge_pages(former);
	printf("{\"event\":\"memfd\",\"index\":%u,\"kind\":\"%s\",\"fd\":%d,\"inode\":%" PRIu64 ",\"sizeBytes\":%" PRIu64
	       ",\"address\":\"0x%" PRIxPTR "\",\"hugePages\":%u}\n",
	       nmemfds, m->kind, m->fd, inode_of(m->fd), m->size, (uintptr_t)m->map, count_huge(m));
	nmemfds++;
}

/* Maps what a CREATE has allocated in a hole; the pages exist now, so this reads and allocates nothing. */
static void map_pages(const struct buffer *b)
{
	for (unsigned int i = 0; i < b->nitems; i++)
		for (uint64_t at = 0; at < b->items[i].size; at += PAGE)
			(void)*(volatile uint8_t *)(memfds[b->items[i].memfd].map + b->items[i].offset + at);
}

static void make_buffer(const struct item *items, unsigned int nitems, bool list, const char *name)
{
	const char *call = list ? "UDMABUF_CREATE_LIST" : "UDMABUF_CREATE";
	struct buffer *b;
	uint64_t size = 0;
	int fd;

	if (device < 0)
		device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (device < 0) {
		refused("open /dev/udmabuf");
		return;
	}
	for (unsigned int i = 0; i < nitems; i++) {
		if (items[i].memfd >= nmemfds)
			die("no memfd %u", items[i].memfd);
		size += items[i].size;
	}
	if (list) {
		struct udmabuf_create_list *request = calloc(1, sizeof(*request) + nitems * sizeof(request->list[0]));

		if (!request)
			die("out of memory");
		request->flags = UDMABUF_FLAGS_CLOEXEC;
		request->count = nitems;
		for (unsigned int i = 0; i < nitems; i++) {
			request->list[i].memfd = (uint32_t)memfds[items[i].memfd].fd;
			request->list[i].offset = items[i].offset;
			request->list[i].size = items[i].size;
		}
		fd = ioctl(device, UDMABUF_CREATE_LIST, request);
		free(request);
	} else {
		struct udmabuf_create request = {
			.memfd = (uint32_t)memfds[items[0].memfd].fd,
			.flags = UDMABUF_FLAGS_CLOEXEC,
			.offset = items[0].offset,
			.size = items[0].size,
		};

		fd = ioctl(device, UDMABUF_CREATE, &request);
	}
	if (fd < 0) {
		refused(call);
		return;
	}
	if (name && ioctl(fd, DMA_BUF_SET_NAME, name))
		refused("DMA_BUF_SET_NAME");
	buffers = grow(buffers, nbuffers, sizeof(*buffers));
	b = &buffers[nbuffers++];
	b->fd = fd;
	b->size = size;
	b->name = name;
	b->nitems = nitems;
	b->items = malloc(nitems * sizeof(*items));
	if (!b->items)
		die("out of memory");
	memcpy(b->items, items, nitems * sizeof(*items));
	map_pages(b);
}

static struct item parse_item(const char **text)
{
	struct item item = { .memfd = nmemfds - 1 };

	if (!nmemfds)
		die("a buffer wants a --memfd before it");
	item.offset = number(text);
	if (skip(text, ':')) {
		item.memfd = (unsigned int)item.offset;
		item.offset = number(text);
	}
	if (!skip(text, ','))
		die("an item wants OFFSET,SIZE");
	item.size = number(text);
	return item;
}

static bool map_buffer(struct buffer *b)
{
	if (b->fd < 0 || b->map)
		return b->fd >= 0;
	b->map = mmap(NULL, b->size, PROT_READ, MAP_SHARED, b->fd, 0);
	if (b->map == MAP_FAILED) {
		b->map = NULL;
		return false;
	}
	for (uint64_t at = 0; at < b->size; at += PAGE)
		(void)*((volatile uint8_t *)b->map + at);
	return true;
}

static bool close_buffer(struct buffer *b)
{
	if (b->fd < 0)
		return true;
	if (b->map)
		munmap(b->map, b->size);
	close(b->fd);
	b->map = NULL;
	b->fd = -1;
	return true;
}

/* The device keeps the import for as long as it is open, which is until this process ends. */
static int drm = -1;

static bool attach_buffer(struct buffer *b)
{
	struct prime_handle request = { .fd = b->fd };

	return b->fd < 0 || !ioctl(drm, PRIME_FD_TO_HANDLE, &request);
}

/* One buffer by its index, or all when `argument` is absent. */
static bool for_buffers(const char *argument, bool (*action)(struct buffer *))
{
	bool ok = true;

	if (argument) {
		uint64_t index = number(&argument);

		if (index >= nbuffers) {
			errno = ERANGE;
			return false;
		}
		return action(&buffers[index]);
	}
	for (unsigned int i = 0; i < nbuffers; i++)
		ok = action(&buffers[i]) && ok;
	return ok;
}

static void add_holder(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* A reader of the pipe must see its end when the parent ends. */
		close(STDOUT_FILENO);
		close(STDIN_FILENO);
		for (;;)
			pause();
	}
	printf("{\"event\":\"holder\",\"pid\":%d}\n", pid);
}

static struct memfd *memfd_argument(const char *argument)
{
	uint64_t index = argument ? number(&argument) : 0;

	return index < nmemfds ? &memfds[index] : NULL;
}

/* Returns false with errno set when the command failed or is not known. */
static bool obey(char **words, unsigned int n)
{
	const char *first = n > 1 ? words[1] : NULL, *second = n > 2 ? words[2] : NULL, *third = n > 3 ? words[3] : NULL;

	if (!strcmp(words[0], "pfns")) {
		print_buffers();
		return true;
	}
	if (!strcmp(words[0], "fork")) {
		add_holder();
		return true;
	}
	if (!strcmp(words[0], "map"))
		return for_buffers(first, map_buffer);
	if (!strcmp(words[0], "close"))
		return for_buffers(first, close_buffer);
	if (!strcmp(words[0], "attach") && first) {
		if (drm < 0)
			drm = open(first, O_RDWR | O_CLOEXEC);
		return drm >= 0 && for_buffers(second, attach_buffer);
	}
	if (!strcmp(words[0], "punch") && second) {
		const struct memfd *m = memfd_argument(third);
		uint64_t offset = number(&first), length = number(&second);

		if (!m)
			errno = ERANGE;
		return m && !fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
	}
	if (!strcmp(words[0], "touch") && third) {
		struct memfd *m = memfd_argument(n > 4 ? words[4] : NULL);
		uint64_t offset = number(&first), length = number(&second), byte = number(&third);

		if (!m || offset > m->size || length > m->size - offset) {
			errno = ERANGE;
			return false;
		}
		memset(m->map + offset, (int)byte, length);
		return true;
	}
	errno = EINVAL;
	return false;
}

static void serve(void)
{
	char line[256];

	while (fgets(line, sizeof(line), stdin)) {
		char *words[6], *save = NULL;
		unsigned int n = 0;

		for (char *word = strtok_r(line, " \t\n", &save); word && n < 6; word = strtok_r(NULL, " \t\n", &save))
			words[n++] = word;
		if (!n)
			continue;
		if (!strcmp(words[0], "quit"))
			break;
		if (obey(words, n)) {
			printf("{\"event\":\"done\",\"command\":\"%s\"}\n", words[0]);
		} else {
			int error = errno;

			printf("{\"event\":\"failed\",\"command\":");
			print_string(words[0]);
			printf(",\"errno\":%d,\"error\":\"%s\"}\n", error, strerror(error));
		}
		fflush(stdout);
	}
}

/* Without the last step a process that changed its user belongs to root (Documentation/admin-guide/sysctl/fs.rst). */
static void become(uid_t user)
{
	if (setgroups(0, NULL) || setresgid(user, user, user) || setresuid(user, user, user) ||
	    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
		die("becoming user %u: %s", user, strerror(errno));
}

int main(int argc, char **argv)
{
	const char *name = NULL;
	uint64_t count = 1, stride = 0;
	bool own_stride = true;

	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		die("/proc/self/pagemap: %s", strerror(errno));
	for (int i = 1; i < argc; i++) {
		const char *option = argv[i], *text;

		if (!strcmp(option, "--map")) {
			if (!for_buffers(NULL, map_buffer))
				refused("mmap");
			continue;
		}
		if (++i == argc)
			die("%s wants a value", option);
		text = argv[i];
		if (!strcmp(option, "--as")) {
			become(number(&text));
		} else if (!strcmp(option, "--memfd")) {
			make_memfd(text);
		} else if (!strcmp(option, "--name")) {
			name = *text ? text : NULL;
		} else if (!strcmp(option, "--count")) {
			count = number(&text);
			own_stride = !skip(&text, ',');
			stride = own_stride ? 0 : number(&text);
		} else if (!strcmp(option, "--buffer")) {
			struct item item = parse_item(&text);

			for (uint64_t n = 0; n < count; n++) {
				make_buffer(&item, 1, false, name);
				item.offset += own_stride ? item.size : stride;
			}
			count = 1;
		} else if (!strcmp(option, "--list")) {
			struct item *items = NULL;
			unsigned int nitems = 0;

			do {
				items = grow(items, nitems, sizeof(*items));
				items[nitems++] = parse_item(&text);
			} while (skip(&text, '+'));
			for (uint64_t n = 0; n < count; n++)
				make_buffer(items, nitems, true, name);
			count = 1;
			free(items);
		} else if (!strcmp(option, "--node")) {
			unsigned long node = 1UL << number(&text);

			/* MPOL_BIND of linux/mempolicy.h, whose wrapper is in a library that few machines have. */
			if (syscall(SYS_set_mempolicy, 2, &node, 8 * sizeof(node)))
				die("set_mempolicy: %s", strerror(errno));
		} else if (!strcmp(option, "--holders")) {
			for (uint64_t n = number(&text); n; n--)
				add_holder();
		} else {
			die("no such option: %s", option);
		}
	}
	print_buffers();
	printf("{\"event\":\"ready\",\"pid\":%d}\n", getpid());
	fflush(stdout);
	serve();
	return 0;
}
