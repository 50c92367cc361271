//! The embedding API and the compile driver
