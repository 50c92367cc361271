/* Every function of spc.h, for good and for ill. */
#include "spc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                     \
  do {                                                                                  \
    if (!(what)) {                                                                      \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what, spc_last_error());          \
      exit(1);                                                                          \
    }                                                                                   \
  } while (0)

static const char text[] =
    "use std.nn\n"
    "axis B = 1..64\n"
    "model net { axes { I = 4, O = 2 }  w: f32[O, I] }\n"
    "fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w) }\n"
    "require half: keep 2 of each 4 along I on net.w\n";
static const char good[] =
    "use std.nn\n"
    "use std.patterns.nm\n"
    "axis B = 1..64\n"
    "model net { axes { I = 4, O = 2 }  w: f32[O, I] }\n"
    "fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w) }\n"
    "require half: nm(2, 4) on net.w\n";

static spc_program *program;

static void call_once(void) {
  float x[3 * 4], y[3 * 2];
  int64_t xs[2] = {3, 4}, ys[2] = {3, 2};
  for (int i = 0; i < 12; i++) x[i] = (float)i;
  spc_array in = {"x", x, xs, 2, SPC_F32}, out = {"y", y, ys, 2, SPC_F32};
  CHECK(spc_call(program, "f", &in, 1, &out, 1) == SPC_OK);
  for (int b = 0; b < 3; b++) {
    CHECK(y[2 * b] == -4 * x[4 * b + 1] + 3 * x[4 * b + 2]);
    CHECK(y[2 * b + 1] == 2 * x[4 * b] + 2 * x[4 * b + 1]);
  }
}

static void *many_calls(void *unused) {
  for (int i = 0; i < 50; i++) call_once();
  return unused;
}

int main(void) {
  CHECK(spc_abi_version() == SPC_ABI_VERSION);
  CHECK(strcmp(spc_last_error(), "") == 0);

  spc_checked *checked = NULL;
  CHECK(spc_compile(text, strlen(text), NULL, &checked) == SPC_PROGRAM && checked == NULL);
  CHECK(strstr(spc_last_error(), "SP0") != NULL);
  CHECK(spc_compile(NULL, 1, NULL, &checked) == SPC_NULL);
  CHECK(spc_compile(good, strlen(good), NULL, NULL) == SPC_NULL);
  CHECK(spc_compile("\xff\xfe", 2, NULL, &checked) == SPC_UTF8);
  CHECK(spc_compile(good, (size_t)-1, NULL, &checked) == SPC_SIZE);
  CHECK(spc_compile_file("no such file.sp", NULL, &checked) == SPC_INPUT);
  CHECK(spc_compile_file(NULL, NULL, &checked) == SPC_NULL);
  spc_options options = {2, "sse9", NULL, 0};
  CHECK(spc_compile(good, strlen(good), &options, &checked) == SPC_NAME);
  options.isa = "clif";
  CHECK(spc_compile(good, strlen(good), &options, &checked) == SPC_OK && checked != NULL);

  float w[8] = {1, -4, 3, 0.5f, 2, 2, 2, 2};
  int64_t shape[2] = {2, 4}, other[2] = {4, 2}, huge[2] = {INT64_MAX, INT64_MAX}, minus[2] = {-1, 4};
  spc_array a = {"net.w", w, shape, 2, SPC_F32};
  spc_array bad = a;
  bad.name = "net.v";
  CHECK(spc_bind(checked, &bad) == SPC_NAME);
  bad = a, bad.shape = other;
  CHECK(spc_bind(checked, &bad) == SPC_INPUT);
  bad.shape = huge;
  CHECK(spc_bind(checked, &bad) == SPC_SIZE);
  bad.shape = minus;
  CHECK(spc_bind(checked, &bad) == SPC_SIZE);
  bad.shape = NULL;
  CHECK(spc_bind(checked, &bad) == SPC_NULL);
  bad = a, bad.rank = 99;
  CHECK(spc_bind(checked, &bad) == SPC_SIZE);
  bad = a, bad.type = 7;
  CHECK(spc_bind(checked, &bad) == SPC_INPUT);
  bad = a, bad.data = NULL;
  CHECK(spc_bind(checked, &bad) == SPC_NULL);
  bad = a, bad.data = (char *)w + 2;
  CHECK(spc_bind(checked, &bad) == SPC_ALIGNMENT);
  CHECK(spc_bind(checked, NULL) == SPC_NULL);
  CHECK(spc_bind(NULL, &a) == SPC_NULL);
  CHECK(spc_bind(checked, &a) == SPC_OK);
  CHECK(spc_build(checked, NULL) == SPC_NULL);
  CHECK(spc_build(checked, &program) == SPC_OK && program != NULL);
  spc_program *again = NULL;
  CHECK(spc_build(checked, &again) == SPC_HANDLE && again == NULL);
  CHECK(spc_bind(checked, &a) == SPC_HANDLE);
  CHECK(spc_bind((spc_checked *)program, &a) == SPC_HANDLE);

  call_once();
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], NULL, many_calls, NULL) == 0);
  for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], NULL) == 0);

  float x[4] = {0}, y[2];
  int64_t xs[2] = {1, 4}, ys[2] = {1, 2};
  spc_array in = {"x", x, xs, 2, SPC_F32}, out = {"y", y, ys, 2, SPC_F32};
  CHECK(spc_call(program, "g", &in, 1, &out, 1) == SPC_NAME);
  CHECK(spc_call(program, "f", NULL, 0, &out, 1) == SPC_INPUT);
  CHECK(spc_call(program, "f", NULL, 1, &out, 1) == SPC_NULL);
  CHECK(spc_call(NULL, "f", &in, 1, &out, 1) == SPC_NULL);
  CHECK(spc_call((spc_program *)checked, "f", &in, 1, &out, 1) == SPC_HANDLE);
  CHECK(spc_call(program, NULL, &in, 1, &out, 1) == SPC_NULL);
  CHECK(spc_call(program, "f", &in, 1, NULL, 0) == SPC_OK);
  out.name = "z";
  CHECK(spc_call(program, "f", &in, 1, &out, 1) == SPC_NAME);
  out.name = "y", out.shape = xs;
  CHECK(spc_call(program, "f", &in, 1, &out, 1) == SPC_SIZE);
  out.shape = ys, out.type = SPC_I32;
  CHECK(spc_call(program, "f", &in, 1, &out, 1) == SPC_NAME);
  in.type = SPC_I32;
  CHECK(spc_call(program, "f", &in, 1, NULL, 0) == SPC_INPUT);
  CHECK(spc_load("no such folder", NULL, &again) == SPC_INPUT);

  spc_free_program(program);
  spc_free_checked(checked);
  spc_free_program(NULL);
  spc_free_checked(NULL);
  puts("fine");
  return 0;
}
