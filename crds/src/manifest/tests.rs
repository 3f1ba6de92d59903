//! What a manifest's author sees.
