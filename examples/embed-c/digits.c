/* Classifies handwritten digits with the functions of digits.h.

   digits WEIGHTS [print]: reads rows of 64 pixels (0 to 16) and a label from standard input, as in digits.csv, and prints how
   many labels are right; with "print" the ten scores of each row, as hexadecimal floats. Uses two threads where a step is
   large enough. */
#include "digits.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIXELS = 64, CLASSES = 10, BATCH = 128 };

/* A file as memory. Pages are aligned to more than the 64 bytes that weights need. */
static const void *map_file(const char *path, size_t *bytes) {
  int file = open(path, O_RDONLY);
  struct stat info;
  if (file < 0 || fstat(file, &info) != 0) {
    perror(path);
    exit(1);
  }
  *bytes = (size_t)info.st_size;
  void *at = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (at == MAP_FAILED) {
    perror(path);
    exit(1);
  }
  return at;
}

/* Every other part on a thread of its own. */
struct half {
  size_t parts;
  void (*task)(void *data, size_t part);
  void *data;
};

static void *odd_parts(void *p) {
  struct half *h = p;
  for (size_t i = 1; i < h->parts; i += 2) h->task(h->data, i);
  return NULL;
}

static void on_two_threads(void *context, size_t parts, void (*task)(void *data, size_t part), void *data) {
  (void)context;
  struct half h = {parts, task, data};
  pthread_t other;
  int alone = pthread_create(&other, NULL, odd_parts, &h);
  for (size_t i = 0; i < parts; i += 2) task(data, i);
  if (alone != 0) {
    odd_parts(&h);
  } else {
    pthread_join(other, NULL);
  }
}

int main(int count, char **args) {
  if (count < 2) {
    fprintf(stderr, "usage: digits WEIGHTS [print] < ROWS\n");
    return 2;
  }
  int print = count > 2 && strcmp(args[2], "print") == 0;
  if (spc_abi_version() != SPC_ABI_VERSION) {
    fprintf(stderr, "digits.h does not belong to the code\n");
    return 1;
  }
  size_t bytes;
  const void *weights = map_file(args[1], &bytes);
  int status = digits_check_weights(weights, bytes);
  if (status != SPC_OK) {
    fprintf(stderr, "%s: status %d\n", args[1], status);
    return 1;
  }
  size_t room = digits_classify_workspace_bytes(BATCH);
  void *workspace = aligned_alloc(64, (room + 63) / 64 * 64 + 64);
  float *image = aligned_alloc(64, BATCH * PIXELS * sizeof(float));
  float *scores = aligned_alloc(64, BATCH * CLASSES * sizeof(float) + 64 - BATCH * CLASSES * sizeof(float) % 64);
  spc_threads threads = {on_two_threads, NULL, 2};

  long right = 0, rows = 0;
  int labels[BATCH], done = 0;
  while (!done) {
    int n = 0;
    for (; n < BATCH; n++) {
      float row[PIXELS + 1];
      int k = 0;
      while (k <= PIXELS && scanf(k == 0 ? " %f" : ", %f", &row[k]) == 1) k++;
      if (k <= PIXELS) {
        done = 1;
        break;
      }
      for (k = 0; k < PIXELS; k++) image[n * PIXELS + k] = row[k] / 16;
      labels[n] = (int)row[PIXELS];
    }
    if (n == 0) break;
    size_t needed = digits_classify_workspace_bytes(n);
    if (needed > room) {
      fprintf(stderr, "%d rows need more than %d\n", n, BATCH);
      return 1;
    }
    status = digits_classify(weights, n, image, scores, workspace, room, &threads);
    if (status != SPC_OK) {
      fprintf(stderr, "status %d\n", status);
      return 1;
    }
    for (int i = 0; i < n; i++) {
      int best = 0;
      for (int c = 0; c < CLASSES; c++) {
        if (scores[i * CLASSES + c] > scores[i * CLASSES + best]) best = c;
        if (print) printf("%a%c", (double)scores[i * CLASSES + c], c + 1 < CLASSES ? ' ' : '\n');
      }
      right += best == labels[i];
    }
    rows += n;
  }
  if (!print) printf("%ld of %ld right\n", right, rows);
  free(workspace);
  free(image);
  free(scores);
  return 0;
}
