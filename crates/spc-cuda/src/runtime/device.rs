//! A device: its context, one stream, memory and modules. Everything that is made here is let go of when it is dropped.
#![allow(unsafe_code)]
use super::RuntimeError;
use super::driver::{self, Address, Driver, DriverSearch, Handle};
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A CUDA device with its own stream.
pub struct Device {
    pub(super) driver: Driver,
    ordinal: i32,
    context: Handle,
    stream: Handle,
    name: String,
    cc: (u32, u32),
    /// Held by who uses the stream: calls do not mix, and a recording holds nothing of another call.
    turn: Mutex<()>,
}

// SAFETY: the handles are those of the process, not of a thread; the driver may be called from several threads at once. What
// needs the context of a thread calls `bind` first.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (compute capability {}.{})", self.name, self.cc.0, self.cc.1)
    }
}

impl Device {
    /// Opens the first device.
    ///
    /// # Errors
    /// There is no driver or no device, or the driver fails.
    pub fn open(search: &DriverSearch) -> Result<Arc<Device>, RuntimeError> {
        let driver = Driver::open(search)?;
        let (mut count, mut ordinal) = (0, 0);
        // SAFETY: the pointer is valid for one int.
        driver.check(unsafe { (driver.device_count)(&mut count) }, "cuDeviceGetCount")?;
        if count < 1 {
            return Err(RuntimeError::NoDevice("it counts none".into()));
        }
        // SAFETY: as above.
        driver.check(unsafe { (driver.device_get)(&mut ordinal, 0) }, "cuDeviceGet")?;
        let mut name = [0u8; 256];
        // SAFETY: the buffer is as long as it is said to be.
        let status = unsafe { (driver.device_name)(name.as_mut_ptr().cast(), name.len() as i32, ordinal) };
        driver.check(status, "cuDeviceGetName")?;
        let name = name.split(|b| *b == 0).next().map(|n| String::from_utf8_lossy(n).into_owned()).unwrap_or_default();
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: the pointer is valid for one int.
            let status = unsafe { (driver.device_attribute)(&mut value, which, ordinal) };
            driver.check(status, "cuDeviceGetAttribute").map(|()| u32::try_from(value).unwrap_or(0))
        };
        let cc = (attribute(driver::CC_MAJOR)?, attribute(driver::CC_MINOR)?);
        let mut context = std::ptr::null_mut();
        // SAFETY: the pointer is valid for one handle. Released when the device is dropped.
        driver.check(unsafe { (driver.context_retain)(&mut context, ordinal) }, "cuDevicePrimaryCtxRetain")?;
        let mut device =
            Device { driver, ordinal, context, stream: std::ptr::null_mut(), name, cc, turn: Mutex::default() };
        device.bind()?;
        const NON_BLOCKING: u32 = 1;
        let mut stream = std::ptr::null_mut();
        // SAFETY: the pointer is valid for one handle.
        device.check(unsafe { (device.driver.stream_create)(&mut stream, NON_BLOCKING) }, "cuStreamCreate")?;
        device.stream = stream;
        Ok(Arc::new(device))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compute capability.
    pub fn capability(&self) -> (u32, u32) {
        self.cc
    }

    /// Waits for other calls, and makes the device's context that of this thread.
    pub(super) fn turn(&self) -> Result<MutexGuard<'_, ()>, RuntimeError> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.bind()?;
        Ok(turn)
    }

    /// Makes the device's context that of this thread.
    pub(super) fn bind(&self) -> Result<(), RuntimeError> {
        // SAFETY: the context is retained as long as the device lives.
        self.check(unsafe { (self.driver.context_set)(self.context) }, "cuCtxSetCurrent")
    }

    fn check(&self, status: driver::Status, function: &'static str) -> Result<(), RuntimeError> {
        self.driver.check(status, function)
    }

    /// A buffer of so many bytes, not initialised. An empty one takes 16 bytes.
    pub(super) fn alloc(self: &Arc<Device>, bytes: u64) -> Result<Buffer, RuntimeError> {
        let size = usize::try_from(bytes.max(16)).map_err(|_| RuntimeError::OutOfMemory { bytes })?;
        let mut address = 0;
        // SAFETY: the pointer is valid for one address.
        match unsafe { (self.driver.alloc)(&mut address, size) } {
            driver::OUT_OF_MEMORY => Err(RuntimeError::OutOfMemory { bytes }),
            status => {
                self.check(status, "cuMemAlloc")?;
                Ok(Buffer { device: Arc::clone(self), address, bytes })
            }
        }
    }

    /// A buffer with these bytes.
    pub(super) fn upload(self: &Arc<Device>, bytes: &[u8]) -> Result<Buffer, RuntimeError> {
        let buffer = self.alloc(bytes.len() as u64)?;
        buffer.write(bytes)?;
        Ok(buffer)
    }

    /// Waits until all that was asked for is done.
    pub(super) fn wait(&self) -> Result<(), RuntimeError> {
        // SAFETY: the stream is alive.
        self.check(unsafe { (self.driver.stream_wait)(self.stream) }, "cuStreamSynchronize")
    }

    /// Starts a kernel. `arguments` are the values of its parameters, 8 or 4 bytes each as the kernel declares.
    pub(super) fn launch(
        &self,
        function: Function,
        (grid, block, shared): (u32, u32, u32),
        arguments: &mut [u64],
    ) -> Result<(), driver::Status> {
        let mut pointers: Vec<*mut c_void> = arguments.iter_mut().map(|a| std::ptr::from_mut(a).cast()).collect();
        let null = std::ptr::null_mut();
        // SAFETY: there is a pointer for every parameter of the kernel, each to 8 bytes of which the driver reads as many as
        // the parameter has (little-endian, so the low ones of an int); the caller has checked the addresses.
        let status = unsafe {
            (self.driver.launch)(function.0, grid, 1, 1, block, 1, 1, shared, self.stream, pointers.as_mut_ptr(), null)
        };
        if status == 0 { Ok(()) } else { Err(status) }
    }

    /// What `launches` asks of the stream, to be asked for again as a whole. Nothing of it runs.
    pub(super) fn record(
        self: &Arc<Device>,
        launches: impl FnOnce() -> Result<(), RuntimeError>,
    ) -> Result<Recorded, RuntimeError> {
        const THIS_THREAD: u32 = 1;
        // SAFETY: the stream is alive, and no other call uses it.
        self.check(unsafe { (self.driver.capture_begin)(self.stream, THIS_THREAD) }, "cuStreamBeginCapture")?;
        let done = launches();
        let (mut graph, mut made) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a recording has begun; the pointer is valid for one handle.
        let status = unsafe { (self.driver.capture_end)(self.stream, &mut graph) };
        done?;
        self.check(status, "cuStreamEndCapture")?;
        // SAFETY: the graph was just recorded; the pointer is valid for one handle. What is made of it does not need it.
        let status = unsafe {
            let status = (self.driver.graph_make)(&mut made, graph, 0);
            let _ = (self.driver.graph_destroy)(graph);
            status
        };
        self.check(status, "cuGraphInstantiate")?;
        Ok(Recorded { device: Arc::clone(self), made })
    }

    /// An event that has passed when all that was asked for so far is done.
    pub(super) fn mark(self: &Arc<Device>) -> Result<Event, RuntimeError> {
        let mut event = std::ptr::null_mut();
        // SAFETY: the pointer is valid for one handle; flags 0 make an event with time.
        self.check(unsafe { (self.driver.event_create)(&mut event, 0) }, "cuEventCreate")?;
        let event = Event { device: Arc::clone(self), event };
        // SAFETY: both are alive.
        self.check(unsafe { (self.driver.event_record)(event.event, self.stream) }, "cuEventRecord")?;
        Ok(event)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.bind();
        // SAFETY: the stream and the context were made by `open` and are let go of once. Failures leave nothing to do.
        unsafe {
            if !self.stream.is_null() {
                let _ = (self.driver.stream_destroy)(self.stream);
            }
            let _ = (self.driver.context_release)(self.ordinal);
        }
    }
}

/// Device memory.
pub(super) struct Buffer {
    device: Arc<Device>,
    address: Address,
    bytes: u64,
}

impl Buffer {
    pub fn address(&self) -> Address {
        self.address
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies all of `from` to the start of the buffer, and waits.
    pub fn write(&self, from: &[u8]) -> Result<(), RuntimeError> {
        if from.len() as u64 > self.bytes {
            return Err(spc_base::Bug::new("a device buffer is too short").into());
        }
        if from.is_empty() {
            return Ok(());
        }
        let d = &self.device;
        // SAFETY: the buffer is long enough, and both live until the wait.
        let status = unsafe { (d.driver.to_device)(self.address, from.as_ptr().cast(), from.len(), d.stream) };
        d.check(status, "cuMemcpyHtoD")?;
        d.wait()
    }

    /// The first bytes of the buffer, after waiting for what writes them.
    pub fn read(&self, bytes: usize) -> Result<Vec<u8>, RuntimeError> {
        if bytes as u64 > self.bytes {
            return Err(spc_base::Bug::new("a device buffer is too short").into());
        }
        let mut out = vec![0u8; bytes];
        if bytes > 0 {
            let d = &self.device;
            // SAFETY: the buffer is long enough, and both live until the wait.
            let status = unsafe { (d.driver.to_host)(out.as_mut_ptr().cast(), self.address, bytes, d.stream) };
            d.check(status, "cuMemcpyDtoH")?;
            d.wait()?;
        }
        Ok(out)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: the address came from this driver and is freed once. A failure leaves nothing to do.
        let _ = unsafe { (self.device.driver.free)(self.address) };
    }
}

/// A point in the stream.
pub(super) struct Event {
    device: Arc<Device>,
    event: Handle,
}

impl Event {
    /// Time from an earlier event to this one, in milliseconds, after waiting for both.
    pub fn since(&self, start: &Event) -> Result<f32, RuntimeError> {
        let d = &self.device;
        let mut ms = 0.0;
        // SAFETY: both events are alive; the pointer is valid for one f32.
        let status = unsafe {
            let waited = (d.driver.event_wait)(self.event);
            if waited == 0 { (d.driver.event_elapsed)(&mut ms, start.event, self.event) } else { waited }
        };
        d.check(status, "cuEventElapsedTime")?;
        Ok(ms)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `mark`, destroyed once.
        let _ = unsafe { (self.device.driver.event_destroy)(self.event) };
    }
}

/// Launches that are asked for as a whole.
pub(super) struct Recorded {
    device: Arc<Device>,
    made: Handle,
}

// SAFETY: a graph's handle is that of the process, as the device's are.
unsafe impl Send for Recorded {}

impl Recorded {
    pub fn start(&self) -> Result<(), driver::Status> {
        // SAFETY: the graph and the stream are alive.
        let status = unsafe { (self.device.driver.graph_launch)(self.made, self.device.stream) };
        if status == 0 { Ok(()) } else { Err(status) }
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: made by `record`, destroyed once. A failure leaves nothing to do.
        let _ = unsafe { (self.device.driver.made_destroy)(self.made) };
    }
}

/// A loaded image.
pub(super) struct Loaded {
    device: Arc<Device>,
    module: Handle,
}

// SAFETY: a module's handle is that of the process, as the device's are.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

/// A kernel of a loaded image.
#[derive(Clone, Copy)]
pub(super) struct Function(Handle);

// SAFETY: a function's handle is that of the process, as the device's are.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Loaded {
    /// Loads a cubin or PTX.
    ///
    /// # Errors
    /// The driver's word for what is wrong with it.
    pub fn new(device: &Arc<Device>, image: &[u8]) -> Result<Loaded, String> {
        // PTX must end in NUL; a cubin may.
        let mut bytes = image.to_vec();
        bytes.push(0);
        let mut module = std::ptr::null_mut();
        // SAFETY: the image is complete and NUL-terminated; the driver copies what it needs.
        match unsafe { (device.driver.module_load)(&mut module, bytes.as_ptr().cast()) } {
            0 => Ok(Loaded { device: Arc::clone(device), module }),
            status => Err(device.driver.describe(status)),
        }
    }

    /// A kernel that may use so much dynamic shared memory. It lives as long as `self`.
    pub fn function(&self, name: &str, shared: u32) -> Result<Function, RuntimeError> {
        let d = &self.device;
        let text = CString::new(name).map_err(|_| spc_base::Bug::new("a kernel's name"))?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is alive, the name NUL-terminated.
        let status = unsafe { (d.driver.module_function)(&mut function, self.module, text.as_ptr()) };
        d.check(status, "cuModuleGetFunction")?;
        // More than 48 KiB must be asked for.
        if shared > 48 << 10 {
            let shared = i32::try_from(shared).unwrap_or(i32::MAX);
            // SAFETY: the function is alive.
            let status = unsafe { (d.driver.function_set)(function, driver::MAX_DYNAMIC_SHARED, shared) };
            d.check(status, "cuFuncSetAttribute")?;
        }
        Ok(Function(function))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = self.device.bind();
        // SAFETY: loaded by `new`, unloaded once.
        let _ = unsafe { (self.device.driver.module_unload)(self.module) };
    }
}
