/* A camera that is not there: loaded with LD_PRELOAD, it makes the file $FAKE_V4L2_DEVICE a V4L2 capture device.
 *
 * Frames come from $FAKE_V4L2_FRAMES, a file of records: length (uint32, native), bytes; over and over, 100 per second.
 * Their format is $FAKE_V4L2_FORMAT, MJPG or YUYV, 64 x 48. Removing the device file unplugs the camera.
 * $FAKE_V4L2_EXPOSURE gives it an exposure that can be locked; what is set is appended to that file, a line each.
 * $FAKE_V4L2_CLOCK "wrong" stamps with a clock that is not the monotonic one; $FAKE_V4L2_SILENT sends no frame at all.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 64, HEIGHT = 48, COUNT = 4, LENGTH = 1 << 16, PERIOD_NS = 10 * 1000 * 1000 };

static int device = -1, memory = -1, queued[COUNT], first, waiting;
static unsigned sequence;
static uint8_t *frames;
static size_t frames_size, frames_at;

static const char *env(const char *name) { return getenv(name) ? getenv(name) : ""; }

static uint32_t format(void) {
  return strcmp(env("FAKE_V4L2_FORMAT"), "YUYV") ? V4L2_PIX_FMT_MJPEG : V4L2_PIX_FMT_YUYV;
}

static void load_frames(void) {
  FILE *file = fopen(env("FAKE_V4L2_FRAMES"), "rb");
  if (!file || frames) return;
  fseek(file, 0, SEEK_END);
  frames_size = (size_t)ftell(file);
  rewind(file);
  frames = malloc(frames_size);
  if (fread(frames, 1, frames_size, file) != frames_size) abort();
  fclose(file);
}

static int open_device(void) {
  load_frames();
  device = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  memory = memfd_create("fake-v4l2", MFD_CLOEXEC);
  if (ftruncate(memory, COUNT * LENGTH)) abort();
  waiting = first = 0;
  return device;
}

#define OPEN(name)                                                             \
  int name(const char *path, int flags, ...) {                                 \
    va_list more;                                                              \
    va_start(more, flags);                                                     \
    mode_t mode = va_arg(more, mode_t);                                        \
    va_end(more);                                                              \
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);             \
    /* Only a driver opens the device without blocking. */                     \
    if ((flags & O_NONBLOCK) && !strcmp(path, env("FAKE_V4L2_DEVICE"))) return open_device(); \
    return real(path, flags, mode);                                            \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "close");
  if (fd >= 0 && fd == device) {
    real(memory);
    device = memory = -1;
  }
  return real(fd);
}

#define MMAP(name, type)                                                                   \
  void *name(void *address, size_t length, int protection, int flags, int fd, type offset) { \
    void *(*real)(void *, size_t, int, int, int, type) = dlsym(RTLD_NEXT, #name);          \
    return real(address, length, protection, flags, fd >= 0 && fd == device ? memory : fd, offset); \
  }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

static void fill_format(struct v4l2_format *f) {
  f->fmt.pix.width = WIDTH;
  f->fmt.pix.height = HEIGHT;
  f->fmt.pix.pixelformat = format();
  f->fmt.pix.field = V4L2_FIELD_NONE;
  f->fmt.pix.bytesperline = format() == V4L2_PIX_FMT_YUYV ? WIDTH * 2 : 0;
  f->fmt.pix.sizeimage = LENGTH;
}

static void fill_buffer(struct v4l2_buffer *b) {
  b->length = LENGTH;
  b->m.offset = b->index * LENGTH;
  b->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
}

static int stream(int on) {
  if (*env("FAKE_V4L2_SILENT")) on = 0;
  struct itimerspec every = {{0, on ? PERIOD_NS : 0}, {0, on ? PERIOD_NS : 0}};
  return timerfd_settime(device, 0, &every, NULL);
}

static int take(struct v4l2_buffer *b) {
  uint64_t ticks;
  if (read(device, &ticks, sizeof ticks) != sizeof ticks || !waiting) return errno = EAGAIN, -1;
  b->index = (unsigned)queued[first];
  first = (first + 1) % COUNT;
  waiting--;
  fill_buffer(b);
  uint32_t size;
  memcpy(&size, frames + frames_at, sizeof size);
  uint8_t *to = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, memory, b->m.offset);
  memcpy(to, frames + frames_at + sizeof size, size);
  munmap(to, LENGTH);
  frames_at += sizeof size + size;
  if (frames_at >= frames_size) frames_at = 0;
  b->bytesused = size;
  b->sequence = sequence++;
  struct timespec now;
  clock_gettime(strcmp(env("FAKE_V4L2_CLOCK"), "wrong") ? CLOCK_MONOTONIC : CLOCK_REALTIME, &now);
  b->timestamp.tv_sec = now.tv_sec;
  b->timestamp.tv_usec = now.tv_nsec / 1000;
  return 0;
}

static int exposure(unsigned long request, struct v4l2_control *c) {
  static int automatic = V4L2_EXPOSURE_MANUAL, absolute = 156;
  int *value = c->id == V4L2_CID_EXPOSURE_AUTO ? &automatic : c->id == V4L2_CID_EXPOSURE_ABSOLUTE ? &absolute : NULL;
  if (!*env("FAKE_V4L2_EXPOSURE") || !value) return errno = EINVAL, -1;
  if (request == VIDIOC_G_CTRL) return c->value = *value, 0;
  FILE *file = fopen(env("FAKE_V4L2_EXPOSURE"), "a");
  fprintf(file, "%s %d\n", value == &automatic ? "auto" : "absolute", c->value);
  fclose(file);
  return *value = c->value, 0;
}

static int describe_control(struct v4l2_queryctrl *q) {
  if (q->id != V4L2_CID_EXPOSURE_AUTO && q->id != V4L2_CID_EXPOSURE_ABSOLUTE) return errno = EINVAL, -1;
  q->type = V4L2_CTRL_TYPE_INTEGER;
  q->minimum = 0;
  q->maximum = 10000;
  q->step = 1;
  q->flags = 0;
  return 0;
}

static int answer(unsigned long request, void *argument) {
  struct v4l2_buffer *buffer = argument;
  if (access(env("FAKE_V4L2_DEVICE"), F_OK)) return errno = ENODEV, -1;
  switch (request) {
  case VIDIOC_QUERYCAP: {
    struct v4l2_capability *c = argument;
    memset(c, 0, sizeof *c);
    c->capabilities = c->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
    return 0;
  }
  case VIDIOC_G_INPUT: return *(int *)argument = 0, 0;
  case VIDIOC_S_INPUT: return 0;
  case VIDIOC_ENUMINPUT: return ((struct v4l2_input *)argument)->index ? (errno = EINVAL, -1) : 0;
  case VIDIOC_G_FMT: return fill_format(argument), 0;
  case VIDIOC_TRY_FMT:
  case VIDIOC_S_FMT: {
    uint32_t asked = ((struct v4l2_format *)argument)->fmt.pix.pixelformat;
    fill_format(argument);
    return asked == format() ? 0 : (errno = EINVAL, -1);
  }
  case VIDIOC_G_PARM:
  case VIDIOC_S_PARM: {
    struct v4l2_streamparm *p = argument;
    p->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
    p->parm.capture.timeperframe = (struct v4l2_fract){1, 100};
    return 0;
  }
  case VIDIOC_REQBUFS: {
    struct v4l2_requestbuffers *r = argument;
    if (r->count > COUNT) r->count = COUNT;
    return 0;
  }
  case VIDIOC_QUERYBUF: return fill_buffer(buffer), 0;
  case VIDIOC_QUERYCTRL: return describe_control(argument);
  case VIDIOC_G_CTRL:
  case VIDIOC_S_CTRL: return exposure(request, argument);
  case VIDIOC_QBUF: return queued[(first + waiting++) % COUNT] = (int)buffer->index, 0;
  case VIDIOC_DQBUF: return take(buffer);
  case VIDIOC_STREAMON: return stream(1);
  case VIDIOC_STREAMOFF: return waiting = 0, stream(0);
  default: return errno = EINVAL, -1;
  }
}

int ioctl(int fd, unsigned long request, ...) {
  va_list more;
  va_start(more, request);
  void *argument = va_arg(more, void *);
  va_end(more);
  int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
  return fd >= 0 && fd == device ? answer(request, argument) : real(fd, request, argument);
}
